"""Views of a question: other forms of it whose answers judge each other."""

from ireasoner.trainer.views.group_views import GroupViews
from ireasoner.trainer.views.known_views import named_contrast, named_views
from ireasoner.trainer.views.view import AnswerMap, Form, Seen, View

__all__ = ["AnswerMap", "Form", "GroupViews", "Seen", "View", "named_contrast", "named_views"]
