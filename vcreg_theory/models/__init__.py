"""Networks of the book: encoders and projectors, and what identifies one."""

from .convolution import conv_encoder, digits_encoder
from .layers import Network, Normalise
from .perceptron import mlp
from .projectors import Cosine, ElementwiseProjector, elementwise_projector, projector
from .resnet import BasicBlock, resnet18
from .summary import fingerprint, forward_flops, tensors_fingerprint

__all__ = [
    "BasicBlock",
    "Cosine",
    "ElementwiseProjector",
    "Network",
    "Normalise",
    "conv_encoder",
    "digits_encoder",
    "elementwise_projector",
    "fingerprint",
    "forward_flops",
    "mlp",
    "projector",
    "resnet18",
    "tensors_fingerprint",
]
