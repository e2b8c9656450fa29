"""Forgets users: in memory, in the journal, in the bundles of the service folder and in caches, and proves it."""

from collections.abc import Sequence

from kgrec.bundle import load_bundle
from kgrec.errors import BundleError, RequestError
from kgrec.messages import Receipt, WriteAnswer
from kgrec.service.deployment import Deployment

_MOST_NAMED = 20


def forget_users(deployment: Deployment, users: Sequence[str]) -> WriteAnswer:
    """Forgets users, and looks through all places for what is left of them.

    Args:
        deployment: what is served.
        users: their ids.

    Raises:
        RequestError: a user is unknown; then nobody is forgotten.
        Problem: the journal cannot be written.
    """
    wanted = list(dict.fromkeys(users))
    unknown = [user for user in wanted if not _is_known(deployment, user)]
    if unknown:
        some = ", ".join(map(repr, unknown[:_MOST_NAMED]))
        raise RequestError(
            f"got {len(unknown)} users who are unknown, such as {some}; nobody is forgotten: leave them out"
        )
    seq = deployment.forget(wanted)
    deployment.finish_forgetting()
    receipts = [_prove(deployment, user) for user in wanted]
    return WriteAnswer(seq=seq, forgotten=len(wanted), receipts=receipts)


def _is_known(deployment: Deployment, user: str) -> bool:
    held = any(user in served.recommender.bundle.users for served in deployment.served.values())
    is_again = deployment.pseudonyms.hash(user) in deployment.journal.read_forgotten()  # after a crash, say
    return held or is_again or any(deployment.journal.count_traces(user).values())


def _prove(deployment: Deployment, user: str) -> Receipt:
    """Counts what is left of a user."""
    in_memory = sum(user in served.recommender.bundle.users for served in deployment.served.values())
    cached = sum(served.answers.count(user) for served in deployment.served.values())
    places = {"memory": in_memory, **deployment.journal.count_traces(user), **deployment.stored.count_user(user)}
    places |= {"caches": cached}
    try:
        source = user in load_bundle(deployment.settings.bundle).users
    except BundleError:
        source = False
    return Receipt(user_hash=deployment.pseudonyms.hash(user), places=places, source_bundle=source)
