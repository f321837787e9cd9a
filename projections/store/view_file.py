"""Views in a file of their own beside the log."""

from typing import Self

from tallystick.projections.store.kept_views import KeptViews
from tallystick.projections.store.view_sides import LIVE, REBUILT, Side
from tallystick.projections.store.view_tables import ViewsRecorder
from tallystick.projections.views.all_views import ALL_VIEWS, ViewTypes


class ViewFile(KeptViews):
    """One side of a file of views.

    Raises:
        NotKept: the file cannot be written, or is no file of views.
    """

    def __init__(self, path: str, kinds: ViewTypes = ALL_VIEWS, side: Side = LIVE) -> None:
        self._path = path
        super().__init__(path, kinds, side)

    def beside(self) -> Self:
        return type(self)(self._path, self.kinds, REBUILT)

    def _opened(self) -> ViewsRecorder:
        return ViewsRecorder(self._path)
