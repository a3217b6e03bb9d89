"""A network names the digits of an image in turn, and looks at one place before each word, by the score function."""

from jaxrl.agents.captioning import CaptioningHparams
from jaxrl.cli.command import main
from jaxrl.recipes.attention_images import (
    CAPTIONS,
    Captioning,
    build_captioning,
    ignored_by_captioning,
    report_captioning,
)
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="captions_digits",
    algorithm="captions by attention",
    build=build_captioning,
    defaults=Options(
        task=Task("DigitCaptions"),
        hparams=CaptioningHparams(learning_rate=2e-3, learning_rate_decay_steps=16_000.0),
        config=Captioning(),
        budget=Budget(16_000, log_every=200, eval_episodes=1_000),
        execution=Execution(sequential=True),
    ),
    report=report_captioning,
    pictures=(CAPTIONS,),
    ignored=ignored_by_captioning,
)

if __name__ == "__main__":
    main(experiment)
