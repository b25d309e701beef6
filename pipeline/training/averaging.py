"""The mean of a model's weights over the last steps of a run."""

import torch


class WeightMean(torch.optim.Optimizer):
    """The mean of the weights after each of some steps: uniform averaging (arXiv 1803.05407 and 2209.14981).

    An optimizer only in that it keeps something for each parameter: so checkpoints hold it as they hold the others.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__(model.parameters(), {"steps": 0})

    @torch.no_grad()
    def add(self) -> None:
        """Count the weights as they are now."""
        for group in self.param_groups:
            group["steps"] += 1
            for parameter in group["params"]:
                if not self.state[parameter]:
                    self.state[parameter]["mean"] = torch.zeros_like(parameter)
                self.state[parameter]["mean"].lerp_(parameter.detach(), 1 / group["steps"])

    @torch.no_grad()
    def use(self) -> None:
        """Put the mean in the place of the weights, if any were counted."""
        for parameter, kept in self.state.items():
            parameter.copy_(kept["mean"])
