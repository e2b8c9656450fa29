"""What may be said of likes that a bundle knows by noisy sums alone, as after a private training."""

from kgrec.bundle import Bundle

_CLEAR = 4.0  # deviations of noise: of 10,000 items that nobody likes, a third of one has a larger noisy count
NOISY = "by noisy counts of likes"


def is_noisy(bundle: Bundle) -> bool:
    """Whether the items' numbers of likes are noisy: a training under differential privacy counted them."""
    return bundle.config.private is not None


def is_popular(bundle: Bundle, row: int) -> bool:
    """Whether the noisy number of likes of an item is clearly above the noise.

    Args:
        bundle: a bundle of a private training.
        row: the item's row.
    """
    return int(bundle.model.n_likes[row]) > _CLEAR * float(bundle.choices["privacy"]["counts_noise"])


def describe_learned(bundle: Bundle) -> str:
    """The items that a private training learned from, in words: "the 200 items that this private training ..."."""
    return f"the {bundle.choices['privacy']['n_selected']:,} items that this private training learned from"


def note_directions(bundle: Bundle) -> str:
    """What a likeness by likes of a private training rests on."""
    rank = bundle.choices["privacy"]["rank"]
    told = f"{rank:,} direction{'' if rank == 1 else 's'} of taste stand{'s' if rank == 1 else ''} out of the noise"
    return f"a private training knows likes by noisy counts: {told}, and items may be near each other by chance"
