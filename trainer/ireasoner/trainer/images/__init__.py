"""Unlabelled images: which files of a folder a run can use, and their pixels."""

from ireasoner.trainer.images.image_folder import ImageFile, ImageFolder
from ireasoner.trainer.images.image_size_check import ImageSizeCheck
from ireasoner.trainer.images.read_image import png_bytes, read_image, shown_bytes

__all__ = ["ImageFile", "ImageFolder", "ImageSizeCheck", "png_bytes", "read_image", "shown_bytes"]
