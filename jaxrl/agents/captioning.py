"""Captions by visual attention (Xu et al. 2015, https://arxiv.org/abs/1502.03044).

A decoder says one word after another, and before each it looks at the features of an image, of which there are `L`
places. Soft attention (section 4.2) weighs all places, and is differentiable. Hard attention (section 4.1) samples one
place s_t ~ α_t and sees it alone. The expected loss of the words, E[−Σ_t log p(word_t)], has the gradient of

    Σ_t −log p(word_t) + Σ_t (F_t − b_t) log α_t(s_t),   F_t = −Σ_{t' ≥ t} log p(word_t'),

since a place does not change the words before it. Each image has several samples of places, and b_t is the mean F_t of
its others (Kool et al. 2019) instead of the paper's running mean; the bonus for the entropy of α is the paper's.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from annotated_types import Ge, Interval
from jax.typing import ArrayLike

from jaxrl import ops
from jaxrl.agents.behaviour_cloning import BehaviourCloningHparams
from jaxrl.agents.optimizers import Optimizer, check_optimizer, default_optimizer
from jaxrl.agents.policy_gradient import NetworkState, update_from_samples, weights_of
from jaxrl.arguments import check_config, check_kind
from jaxrl.distributions import Categorical
from jaxrl.networks.caption_network import Attend, CaptionNetwork, Read
from jaxrl.networks.network import check_network, check_output_kind, initial_params
from jaxrl.types import Agent, Array, Decision, Input, PyTree, Sample, Transition


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CaptioningHparams(BehaviourCloningHparams):
    """Hyperparameters of captions by attention."""

    entropy_coef: Annotated[float, Ge(0)] = 0.01
    """Coefficient of the entropy of the places, a bonus that lets hard attention explore."""


@dataclasses.dataclass(frozen=True)
class CaptioningConfig:
    """The kind of attention, static."""

    attention: Literal["hard", "soft"] = "hard"
    """Whether each word is said after a look at one sampled place, or at the weighted mean of all."""
    samples: Annotated[int, Interval(ge=2, le=64)] = 4
    """Sampled sequences of places of each image, at least 2, each with the others as its baseline."""


def captioning(
    network: CaptionNetwork, config: CaptioningConfig, optimizer: Optimizer = default_optimizer
) -> Agent[NetworkState]:
    """An agent that says the right words about an image, one a step, with what it said as its memory.

    Args:
        network: maps images `[N, H, W, 1]`, words and a choice of places to a `jaxrl.networks.caption_network.Read`.
        config: the kind of attention.
        optimizer: of all parameters; by default, Adam after a clip of the gradient's norm.

    Returns:
        An agent for a `Sample` `[n, B]` with the right words as actions, as from `jaxrl.offline`; the words until the
        first that terminates count. Its hyperparameters are `CaptioningHparams`. `policy` looks at the most probable
        place, or weighs all; `Decision.extras` are the weights with which it saw the places, `[N, L]`: α of soft
        attention, 1 for the place of hard attention. Metrics: `loss`, the mean of −log p(word); `accuracy`, of the
        words; `entropy`, of α.

    Raises:
        ArgumentError: not a network, or fewer than 2 samples; from `init`, other outputs; from `update`, not a sample.
    """
    check_network(network)
    check_config(config, CaptioningConfig)
    check_optimizer(optimizer)

    def init(key: Array, hparams: CaptioningHparams, observation: PyTree) -> NetworkState:
        check_kind("hparams", hparams, CaptioningHparams)
        params = initial_params(network, key, observation)
        check_output_kind("network", network, params, observation, Read)
        return NetworkState(params, optimizer(hparams, jnp.float32(0)).init(params), hparams)

    def act(state: NetworkState, given: Input, key: Array, env_steps: Array) -> Decision:
        del env_steps
        look_key, key = jax.random.split(key)
        look, say = (partial(Categorical.sample, key=each) for each in (look_key, key))
        return _decide(network, state, given, _attend(config, look), say)

    def policy(state: NetworkState, given: Input, key: Array) -> Decision:
        del key
        return _decide(network, state, given, _attend(config, Categorical.mode), Categorical.mode)

    def memory(state: NetworkState, num_envs: int) -> PyTree:
        del state
        nothing = jnp.full(num_envs, network.num_words, jnp.int32)
        return jnp.zeros((num_envs, network.hidden_size), jnp.float32), nothing

    return Agent(init, act, policy, update_from_samples(partial(_loss, network, config), optimizer), memory=memory)


Choose = Callable[[Categorical], Array]
"""From logits `[N, K]` to what is chosen, int32 `[N]`."""


def _decide(network: CaptionNetwork, state: NetworkState, given: Input, attend: Attend, say: Choose) -> Decision:
    """The next word."""
    memory, word = given.memory
    apply: Callable[..., Any] = partial(network.apply, state.params)
    features = apply(given.observation, method="see")
    logits, _, seen, memory = apply(features, memory, word, attend, method="step")
    word = say(Categorical(logits))
    return Decision(word, (memory, word), seen)


def _attend(config: CaptioningConfig, choose: Choose) -> Attend:
    """What the network sees, `[N, L]`: a one-hot place that `choose` draws, or the weights themselves."""

    def attend(logits: Array) -> Array:
        if config.attention == "soft":
            return jax.nn.softmax(logits)
        return jax.nn.one_hot(choose(Categorical(logits)), logits.shape[-1], dtype=jnp.float32)

    return attend


def caption_loss(
    network: CaptionNetwork,
    config: CaptioningConfig,
    hparams: CaptioningHparams,
    params: PyTree,
    steps: Transition,
    choose: Callable[[int, Categorical], Array],
    weights: ArrayLike = 1.0,
) -> tuple[Array, dict[str, Array]]:
    """The surrogate of the expected loss of the words on sequences `[n, B]`, and metrics.

    `choose` maps the number of a word and `α` `[samples * B]` to places `[samples * B]`. `weights` `[n, B]` are those
    of the words in the loss.
    """
    samples = config.samples if config.attention == "hard" else 1
    said = jnp.concatenate([jnp.zeros_like(steps.terminated[:1]), steps.terminated[:-1]])
    counts = jnp.tile((~jnp.maximum.accumulate(said)).astype(jnp.float32), samples)
    words = jnp.tile(steps.action, samples)

    def attend(t: int, logits: Array) -> Array:
        return _attend(config, partial(choose, t))(logits)

    apply: Callable[..., Any] = network.apply
    read: Read = apply(params, steps.observation[0], words, attend, samples)
    log_prob = jax.vmap(jax.vmap(ops.categorical_log_prob))
    weights = jnp.tile(jnp.broadcast_to(weights, steps.action.shape), samples)
    costs = -weights * counts * log_prob(read.logits, words)
    places = Categorical(read.places)
    entropies = weights * counts * jax.vmap(Categorical.entropy)(places)
    right = counts * (read.logits.argmax(-1) == words)
    total = counts.sum()
    metrics = {"loss": costs.sum() / total, "accuracy": right.sum() / total, "entropy": entropies.sum() / total}
    if config.attention == "soft":
        return costs.sum() / total, metrics
    log_probs = log_prob(read.places, read.chosen)
    later = jnp.tri(len(costs), dtype=jnp.float32)
    by_sample = jnp.moveaxis((later.T @ costs).reshape(len(costs), samples, -1), 1, 0)
    baselines = jnp.moveaxis(ops.leave_one_out_baseline(by_sample), 0, 1).reshape(costs.shape)
    surrogates = ops.surrogate_loss(costs, log_probs, baselines, later)
    return (surrogates.sum() - hparams.entropy_coef * entropies.sum()) / total, metrics


def _loss(
    network: CaptionNetwork,
    config: CaptioningConfig,
    state: NetworkState,
    batch: Sample,
    key: Array,
    params: PyTree,
) -> tuple[Array, dict[str, Array]]:
    def choose(t: int, places: Categorical) -> Array:
        return places.sample(jax.random.fold_in(key, t))

    return caption_loss(network, config, state.hparams, params, batch.transitions, choose, weights_of(batch))
