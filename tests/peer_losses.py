"""The losses of public projects, rewritten here from their definitions, for comparison and timing.

They keep what distinguishes each one (weights, which variance, which matrices are formed, how the
diagonal is left out), because that is what is compared. Each takes the embeddings of two views.
"""

import torch
import torch.nn.functional as F


def without_diagonal(matrix):
    """The off-diagonal entries in one vector, by the reshaping of facebookresearch/vicreg."""
    d = len(matrix)
    return matrix.flatten()[:-1].view(d - 1, d + 1)[:, 1:].flatten()


def masked_off_diagonal(matrix):
    """The same entries by a boolean mask, as in lightly and solo-learn."""
    return matrix[~torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)]


def vicreg_facebook(za, zb, lam=25.0, mu=25.0, nu=1.0, eps=1e-4):
    n, d = za.shape
    loss = lam * F.mse_loss(za, zb)
    for z in (za, zb):
        z = z - z.mean(0)
        covariance = z.T @ z / (n - 1)
        loss = loss + mu * F.relu(1 - torch.sqrt(z.var(0) + eps)).mean() / 2
        loss = loss + nu * without_diagonal(covariance).pow(2).sum() / d
    return loss


def vicreg_lightly(za, zb, lam=25.0, mu=25.0, nu=1.0, eps=1e-4):
    hinges, squares = [], []
    for z in (za, zb):
        z = z - z.mean(0)
        hinges.append(F.relu(1 - torch.sqrt(z.var(0) + eps)).mean())
        covariance = torch.einsum("bi,bj->ij", z, z) / (len(z) - 1)
        squares.append(masked_off_diagonal(covariance).pow(2).sum() / z.shape[1])
    return lam * F.mse_loss(za, zb) + mu * 0.5 * sum(hinges) + nu * sum(squares)


def vicreg_solo(za, zb, lam=25.0, mu=25.0, nu=1.0):
    hinges = sum(F.relu(1 - torch.sqrt(z.var(0) + 1e-4)).mean() for z in (za, zb))
    squares = 0.0
    for z in (za, zb):
        z = z - z.mean(0)
        squares = squares + masked_off_diagonal(z.T @ z / (len(z) - 1)).pow(2).sum() / z.shape[1]
    return lam * F.mse_loss(za, zb) + mu * hinges + nu * squares


def vcreg_stable(z, mu=25.0, nu=1.0, eps=1e-4):
    z = z - z.mean(0)
    hinge = F.relu(1 - torch.sqrt(z.var(0) + eps)).mean() / 2
    squares = without_diagonal(z.T @ z / (len(z) - 1)).pow(2).sum() / z.shape[1]
    return mu * hinge + nu * squares


def vicreg_stable(za, zb):
    return 25.0 * F.mse_loss(za, zb) + vcreg_stable(za) + vcreg_stable(zb)


def barlow_facebook(za, zb, lam=0.0051):
    a, b = (F.batch_norm(z, None, None, training=True) for z in (za, zb))
    c = a.T @ b / len(za)
    return (c.diagonal() - 1).pow(2).sum() + lam * without_diagonal(c).pow(2).sum()


def barlow_solo(za, zb, lam=5e-3, scale=0.025):
    norm = torch.nn.BatchNorm1d(za.shape[1], affine=False).to(za)
    c = torch.einsum("bi,bj->ij", norm(za), norm(zb)) / len(za)
    squares = (c - torch.eye(len(c)).to(c)).pow(2)
    weights = torch.full_like(squares, lam).fill_diagonal_(1.0)
    return scale * (squares * weights).sum()


def barlow_stable(za, zb, lam=5e-3, eps=1e-5):
    a, b = ((z - z.mean(0)) / (z.std(0) + eps) for z in (za, zb))  # std with n - 1
    c = a.T @ b / len(za)
    return (c.diagonal() - 1).pow(2).sum() + lam * without_diagonal(c).pow(2).sum()


def ntxent_lightly(za, zb, temperature=0.5):
    n = len(za)
    a, b = F.normalize(za), F.normalize(zb)
    other = ~torch.eye(n, dtype=torch.bool, device=za.device)
    aa, bb = ((z @ z.T / temperature)[other].view(n, n - 1) for z in (a, b))
    ab, ba = a @ b.T / temperature, b @ a.T / temperature
    logits = torch.cat([torch.cat([ab, aa], 1), torch.cat([ba, bb], 1)])
    return F.cross_entropy(logits, torch.arange(n, device=za.device).repeat(2))


def simclr_solo(za, zb, temperature=0.1):
    n = len(za)
    z = F.normalize(torch.cat([za, zb]), dim=-1)
    similar = torch.exp(z @ z.T / temperature)
    sample = torch.arange(n, device=z.device).repeat(2)
    positive = (sample[:, None] == sample).fill_diagonal_(False)
    negative = sample[:, None] != sample
    top = (similar * positive).sum(1)
    return -torch.log(top / (top + (similar * negative).sum(1))).mean()


def wmse_htdt(za, zb, *, normalize=True, eps=0.0, size=None):
    """One whitening iteration, sub-batches of `size` in the order of the rows."""
    size = len(za) if size is None else size

    def whiten(x):
        x = x - x.mean(0)
        covariance = x.T @ x / (len(x) - 1)
        eye = torch.eye(len(covariance)).to(covariance)
        root = torch.linalg.cholesky((1 - eps) * covariance + eps * eye)
        return x @ torch.linalg.solve_triangular(root, eye, upper=False).T

    a, b = (torch.cat([whiten(part) for part in z.split(size)]) for z in (za, zb))
    if not normalize:
        return F.mse_loss(a, b)
    return 2 - 2 * (F.normalize(a) * F.normalize(b)).sum(-1).mean()


def byol_solo(p, z):
    return 2 - 2 * F.cosine_similarity(p, z.detach(), dim=-1).mean()


def negative_cosine_lightly(p, z):
    return -F.cosine_similarity(p, z.detach(), dim=1, eps=1e-8).mean()
