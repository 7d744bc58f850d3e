"""Zero-shot classification of clips that show one or more of the classes (TVTSv2, section 13, has one a clip)."""

from jaxtyping import Bool, Float
from torch import Tensor


def classification_metrics(
    similarity: Float[Tensor, "clips classes"], own: Bool[Tensor, "clips classes"]
) -> dict[str, float]:
    """In percent, "top1": clips whose most similar class is one of theirs; "found": of the k most similar classes, k
    being how many a clip has, those that are its own, as a mean over clips. With one class a clip both are top-1
    accuracy; guessing gives both the mean of k over the number of classes. ValueError for a clip without a class.
    """
    count = own.sum(dim=1)
    if not bool((count > 0).all()):
        raise ValueError("a clip has no class")
    order = similarity.argsort(dim=1, descending=True)
    right = own.gather(1, order).double()  # (clips, classes): whether the k-th most similar is its own
    found = right.cumsum(dim=1).gather(1, count[:, None] - 1)[:, 0] / count
    return {"top1": 100 * float(right[:, 0].mean()), "found": 100 * float(found.mean())}
