"""Neural self-play in Leduc poker: PPO with entropy as a magnet, against itself and its past."""

from jaxrl.agents.self_play_ppo import SelfPlayHparams
from jaxrl.cli.command import main
from jaxrl.recipes.exact_games import PICTURE, SelfPlay, build_self_play, ignored_by_self_play, report
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="selfplay_leduc",
    algorithm="self-play PPO",
    build=build_self_play,
    defaults=Options(
        task=Task("game:leduc_poker"),
        hparams=SelfPlayHparams(magnet_half_life=500.0, magnet_floor=0.05, past=0.5),
        config=SelfPlay(num_steps=3, num_games=4096, hidden_sizes=(128, 128)),
        budget=Budget(300_000_000, log_every=1_000_000),
        execution=Execution(sequential=True),
    ),
    report=report,
    pictures=(PICTURE,),
    ignored=ignored_by_self_play,
)

if __name__ == "__main__":
    main(experiment)
