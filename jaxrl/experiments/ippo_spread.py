"""PPO for several agents that share a policy: in MPE's spread, three agents cover three landmarks together."""

from jaxrl.agents import PPOHparams
from jaxrl.cli.command import main
from jaxrl.recipes.actor_critics import PPO, build_ppo, ignored_by_policy_gradient
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="ippo_spread",
    algorithm="IPPO",
    build=build_ppo,
    defaults=Options(
        task=Task("jaxmarl:MPE_simple_spread_v3"),
        hparams=PPOHparams(learning_rate=1e-3),
        config=PPO(num_envs=32, rollout_length=128),
        budget=Budget(2_000_000),
        execution=Execution(sequential=True),
    ),
    ignored=ignored_by_policy_gradient,
)

if __name__ == "__main__":
    main(experiment)
