"""Unlabelled images: which ones of a folder or a dataset a run can use, and their pixels."""

from ireasoner.trainer.images.image_folder import ImageFolder
from ireasoner.trainer.images.image_set import ImageFile, ImageSet
from ireasoner.trainer.images.image_size_check import ImageSizeCheck, has_pixel_bounds
from ireasoner.trainer.images.image_stream import ImageStream, StreamOrder
from ireasoner.trainer.images.image_table import ImageTable
from ireasoner.trainer.images.open_images import check_images_address, open_images
from ireasoner.trainer.images.read_image import png_bytes, read_image, shown_bytes

__all__ = [
    "ImageFile",
    "ImageFolder",
    "ImageSet",
    "ImageSizeCheck",
    "ImageStream",
    "ImageTable",
    "StreamOrder",
    "check_images_address",
    "has_pixel_bounds",
    "open_images",
    "png_bytes",
    "read_image",
    "shown_bytes",
]
