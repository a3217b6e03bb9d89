"""A network names a digit after six glimpses at places that it chooses, by the score function."""

from jaxrl.agents.recurrent_attention import RecurrentAttentionHparams
from jaxrl.cli.command import main
from jaxrl.recipes.attention_images import (
    GLIMPSES,
    Attention,
    build_attention,
    ignored_by_attention,
    report_attention,
)
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="attention_digits",
    algorithm="recurrent attention",
    build=build_attention,
    defaults=Options(
        task=Task("Digits"),
        hparams=RecurrentAttentionHparams(learning_rate_decay_steps=8_000.0),
        config=Attention(),
        budget=Budget(8_000, log_every=200, eval_episodes=2_000),
        execution=Execution(sequential=True),
    ),
    report=report_attention,
    pictures=(GLIMPSES,),
    ignored=ignored_by_attention,
)

if __name__ == "__main__":
    main(experiment)
