"""What the key of a tenant sees of a state: the tenant's items, and the users' likes of these."""

from functools import cached_property
from http import HTTPStatus
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgrec.bundle import Bundle
from kgrec.errors import RequestError
from kgrec.recommend import Recommender
from kgrec.service.caller import Tenant
from kgrec.service.problems import Problem
from kgrec.service.tenants import allowed_items

_MOST_NAMED = 5  # unknown ids in a message


class TenantView:
    """The items of one tenant.

    Args:
        bundle: the bundle of the state.
        tenant: the tenant.
    """

    def __init__(self, bundle: Bundle, tenant: Tenant) -> None:
        self._bundle = bundle
        self.mask: NDArray[np.bool_] = allowed_items(bundle, tenant)

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the items."""
        ids = self._bundle.items.ids
        return [ids[row] for row in np.flatnonzero(self.mask).tolist()]

    def has(self, item: str) -> bool:
        """Whether an item is the tenant's."""
        row = self._bundle.items.row(item)
        return row is not None and bool(self.mask[row])

    def check(self, item: str) -> None:
        """Checks that an item is the tenant's.

        Raises:
            RequestError: for this tenant there is no such item.
        """
        if not self.has(item):
            raise RequestError(f"unknown item {item!r}: not among the {int(self.mask.sum())} items of this key")

    def restrict(self, arguments: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The arguments of `Recommender.recommend` with the tenant's items alone; and the ids that are left out.

        A known user is replaced by the user's likes of these items: links and texts of users are not the tenant's.
        """
        found, unknown = dict(arguments), list[str]()
        if not self.mask.any():
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "This key has no items", expected="items of its tenant")
        if found.get("user") is not None:
            self._replace_user(found)
        for name in ("likes", "candidates", "exclude"):
            if found.get(name) is not None:
                found[name] = self._keep(found[name], name, unknown)
        if found.get("sequence") is not None:
            kept = set(self._keep([item for item, _ in found["sequence"]], "sequence", unknown))
            found["sequence"] = [pair for pair in found["sequence"] if pair[0] in kept]
        if found.get("candidates") is None:
            found["candidates"] = self.ids
        if found.get("links"):
            raise RequestError("got links; a key of a tenant describes users by likes, texts and attributes")
        return found, unknown

    def _keep(self, ids: list[str], name: str, unknown: list[str]) -> list[str]:
        kept = [id_ for id_ in ids if self.has(id_)]
        missing = [id_ for id_ in ids if not self.has(id_)]
        unknown += missing
        if missing and not kept and name != "exclude":
            raise RequestError(
                f"none of the {len(ids)} ids given as {name} is an item of this key: "
                f"{', '.join(map(repr, missing[:_MOST_NAMED]))}"
            )
        return kept

    def _replace_user(self, arguments: dict[str, Any]) -> None:
        bundle = self._bundle
        row = bundle.users.row(arguments.pop("user"))
        if row is None:
            raise RequestError("unknown user; give the user's likes or a text instead, or add interactions")
        seen = bundle.seen[[row]].indices
        liked = bundle.liked[[row]].indices
        if bundle.liked_at is not None:
            liked = liked[np.argsort(bundle.liked_at[[row]].data, kind="stable")]
        ids = bundle.items.ids
        own = [ids[item] for item in liked.tolist() if self.mask[item]]
        given = arguments.get("sequence")
        if given is not None:
            arguments["sequence"] = [*((item, None) for item in own), *given]
        else:
            arguments["likes"] = [*own, *(arguments.get("likes") or ())]
            if not arguments["likes"]:
                del arguments["likes"]
        if arguments.get("filter_seen", True) and "item" not in arguments:
            arguments["exclude"] = [*(arguments.get("exclude") or ()), *(ids[item] for item in seen.tolist())]
            arguments["exclude"] = [id_ for id_ in arguments["exclude"] if self.has(id_)]


class TenantViews:
    """The views of one state, made at first use.

    Args:
        recommender: in this state.
    """

    def __init__(self, recommender: Recommender) -> None:
        self._bundle = recommender.bundle
        self._views: dict[Tenant, TenantView] = {}

    def find(self, tenant: Tenant) -> TenantView:
        """The view of a tenant."""
        if tenant not in self._views:
            self._views[tenant] = TenantView(self._bundle, tenant)
        return self._views[tenant]
