"""Views of which the live rows are read once, for several reports of one moment."""

from collections.abc import Iterable, Mapping
from functools import cached_property

from tallystick.projections.store.view_store import Kept, ViewStore
from tallystick.projections.views.view import Changes


class OneMoment:
    """A view store whose live rows stay as they were when they were first asked for; the rest is as it is."""

    def __init__(self, views: ViewStore) -> None:
        self._views = views
        self.kinds = views.kinds

    @cached_property
    def _live(self) -> Kept:
        return self._views.live()

    def live(self) -> Kept:
        return self._live

    def row(self, view: str, id: str) -> bytes | None:
        return self._views.row(view, id)

    def whole(self, views: Iterable[str]) -> Kept:
        return self._views.whole(views)

    def between(self, view: str, first: str, behind: str) -> Kept:
        return self._views.between(view, first, behind)

    def keep(self, changes: Mapping[str, Changes], after: int, position: int, digest: str) -> None:
        self._views.keep(changes, after, position, digest)

    def reset(self) -> None:
        self._views.reset()

    def close(self) -> None:
        self._views.close()
