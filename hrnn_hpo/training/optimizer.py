"""AdamW for dense parameters, Adam over touched rows for a sparse item embedding, stepped and clipped as one."""

import torch
from torch import Tensor

from hrnn_hpo.model.hrnn import HRNN

BETAS = (0.9, 0.99)


class Optimizer:
    """The optimizers of a model: matrices decay, biases, norms and scales do not, a sparse embedding does neither.

    Decay of rows that no batch touched would cost V x H work an update; Adam alone leaves them as they are.
    """

    def __init__(self, model: HRNN, learning_rate: float, weight_decay: float) -> None:
        self.learning_rate = learning_rate
        self.parameters = list(model.parameters())
        dense = {n: p for n, p in model.named_parameters() if not (model.sparse and p is model.item_embedding)}
        # By name as well: the biases of several heads are one matrix.
        decays = {name: p.ndim >= 2 and not name.endswith("bias") for name, p in dense.items()}
        groups = [
            {"params": [p for name, p in dense.items() if decays[name]], "weight_decay": weight_decay},
            {"params": [p for name, p in dense.items() if not decays[name]], "weight_decay": 0.0},
        ]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS, fused=True)
        ]
        if model.sparse:
            self.optimizers.append(torch.optim.SparseAdam([model.item_embedding], lr=learning_rate, betas=BETAS))

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def clip_gradients(self, largest_norm: float) -> None:
        """Scale all gradients down to a global norm of at most `largest_norm`."""
        gradients = []
        for parameter in self.parameters:
            if parameter.grad is not None:
                if parameter.grad.is_sparse:
                    parameter.grad = parameter.grad.coalesce()
                gradients.append(parameter.grad.values() if parameter.grad.is_sparse else parameter.grad)
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, (largest_norm / (norm + 1e-6)).clamp_max(1.0))

    def step(self, warmup: float = 1.0) -> None:
        """Make one update at `warmup` times the learning rate."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * warmup
            optimizer.step()

    def state_tensors(self) -> dict[str, Tensor]:
        """Return every moment and counter by name, for a checkpoint."""
        return {
            f"{number}.{index}.{slot}": torch.as_tensor(value)
            for number, optimizer in enumerate(self.optimizers)
            for index, slots in optimizer.state_dict()["state"].items()
            for slot, value in slots.items()
        }

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state_tensors` returned."""
        states: list[dict[int, dict[str, Tensor | int]]] = [{} for _ in self.optimizers]
        for name, value in tensors.items():
            number, index, slot = name.split(".", 2)
            # SparseAdam counts in Python integers: with a tensor its powers would round otherwise.
            restored = value if value.is_floating_point() else int(value)
            states[int(number)].setdefault(int(index), {})[slot] = restored
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
