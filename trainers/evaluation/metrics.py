"""Text-to-video and video-to-text retrieval (TVTSv2, section 13)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

CUTOFFS = (1, 5, 10, 50)


def t2v_ranks(similarity: Float[Tensor, "queries videos"]) -> Float[Tensor, " queries"]:
    """Rank of each query's own video, from 0; equal values count in the query's favour.

    Query i belongs to video i // (queries per video).
    """
    own = _own_video(similarity)
    true = similarity.gather(1, own[:, None])
    return (similarity > true).sum(dim=1).double()


def v2t_ranks(similarity: Float[Tensor, "queries videos"]) -> Float[Tensor, " videos"]:
    """Best rank of a video among its captions, from 0; a tie takes the mean of the places it spans."""
    own = _own_video(similarity)
    true = similarity.gather(1, own[:, None])[:, 0]  # (queries,): each caption with its own video
    column = similarity.T[own]  # (queries, queries): what its video says of every caption
    better = (column > true[:, None]).sum(dim=1)
    equal = (column == true[:, None]).sum(dim=1)
    ranks = better.double() + (equal - 1) / 2
    best: Tensor = ranks.unflatten(0, (similarity.shape[1], -1)).amin(dim=1)
    return best


def rank_metrics(ranks: Float[Tensor, " n"]) -> dict[str, float]:
    """R@k in percent, median and mean rank counted from 1, geometric mean of R1, R5, R10."""
    recalls = {f"R{k}": 100 * float((ranks < k).double().mean()) for k in CUTOFFS}
    recalls["R1"] = 100 * float((ranks == 0).double().mean())  # half a place behind in a tie is not first
    middle = float(ranks.double().quantile(0.5))
    product = recalls["R1"] * recalls["R5"] * recalls["R10"]
    return {
        **recalls,
        "MedR": middle + 1,
        "MeanR": float(ranks.double().mean()) + 1,
        "geometric_mean_R1-R5-R10": product ** (1 / 3),
    }


def retrieval_metrics(similarity: Float[Tensor, "queries videos"]) -> dict[str, dict[str, float]]:
    """Both directions: {"t2v": metrics, "v2t": metrics}; rows are texts, columns videos."""
    return {"t2v": rank_metrics(t2v_ranks(similarity)), "v2t": rank_metrics(v2t_ranks(similarity))}


def _own_video(similarity: Float[Tensor, "queries videos"]) -> Tensor:
    queries, videos = similarity.shape
    if queries % videos:
        raise ValueError(f"{queries} texts do not divide among {videos} videos")
    return torch.arange(queries, device=similarity.device) // (queries // videos)


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


def sorting_accuracy(logits: Float[Tensor, "n k places"]) -> dict[str, float]:
    """Percent of transcripts given their place, and of clips with all places right; rows are in time order.

    Chance is 100 / K for a place and, for independent answers, 100 / K**K for a clip.
    """
    right = logits.argmax(dim=-1) == torch.arange(logits.shape[1], device=logits.device)
    return {
        "position": 100 * float(right.double().mean()),
        "all_right": 100 * float(right.all(dim=1).double().mean()),
    }


def twin_accuracy(videos: Float[Tensor, "pairs 2 d"], texts: Float[Tensor, "pairs 2 d"]) -> float:
    """Percent of texts that are nearer (by cosine) to their own clip than to its twin; a tie counts half.

    Features that know nothing of order give 50.
    """
    similarity = F.normalize(texts, dim=-1) @ F.normalize(videos, dim=-1).transpose(
        1, 2
    )  # (pairs, text, video)
    own = similarity.diagonal(dim1=1, dim2=2)
    twin = similarity.flip(2).diagonal(dim1=1, dim2=2)
    return 100 * float(((own > twin).double() + (own == twin).double() / 2).mean())
