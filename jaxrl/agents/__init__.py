"""The learners, one file an algorithm."""

from jaxrl.agents.a2c import A2CHparams, a2c
from jaxrl.agents.alphago import AlphaGoConfig, AlphaGoHparams, alphago, clone
from jaxrl.agents.alphago_zero import GateConfig, gate, gated
from jaxrl.agents.alphazero import AlphaZeroHparams, SearchConfig, alphazero
from jaxrl.agents.averaged import averaged
from jaxrl.agents.behaviour_cloning import BehaviourCloningHparams, behaviour_cloning
from jaxrl.agents.board_league import BoardLeagueConfig, BoardLeagueHparams, board_league
from jaxrl.agents.captioning import CaptioningConfig, CaptioningHparams, captioning
from jaxrl.agents.dagger import DAggerHparams, dagger
from jaxrl.agents.dqn import DQNHparams, RainbowHparams, dqn
from jaxrl.agents.dyna import DynaConfig, DynaHparams, dyna
from jaxrl.agents.dyna_q import DynaQHparams, dyna_q
from jaxrl.agents.gail import DiscriminatorHparams, GAILConfig, GAILHparams, gail
from jaxrl.agents.game_tables import game_solver
from jaxrl.agents.iqn import IQNConfig, IQNHparams, iqn
from jaxrl.agents.league import LeagueConfig, LeagueHparams, league
from jaxrl.agents.minibatches import MinibatchConfig
from jaxrl.agents.muzero import MuZeroConfig, MuZeroHparams, muzero
from jaxrl.agents.nfsp import NFSPConfig, NFSPHparams, nfsp
from jaxrl.agents.normalised import normalised
from jaxrl.agents.pets import PETSConfig, PETSHparams, pets
from jaxrl.agents.ppo import PPOHparams, ppo
from jaxrl.agents.pqn import PQNHparams, pqn
from jaxrl.agents.prioritised_sweeping import PrioritisedSweepingHparams, prioritised_sweeping
from jaxrl.agents.q_learning import QLearningHparams, q_learning
from jaxrl.agents.recurrent_attention import (
    RecurrentAttentionConfig,
    RecurrentAttentionHparams,
    recurrent_attention,
)
from jaxrl.agents.recurrent_dqn import BurnInConfig, RecurrentDQNHparams, recurrent_dqn
from jaxrl.agents.recurrent_ppo import SequenceConfig, recurrent_ppo
from jaxrl.agents.reinforce import ReinforceConfig, ReinforceHparams, reinforce
from jaxrl.agents.routing import RoutingConfig, RoutingHparams, routing
from jaxrl.agents.sac import SACHparams, sac
from jaxrl.agents.self_play_ppo import SelfPlayConfig, SelfPlayHparams, self_play_ppo
from jaxrl.agents.td3 import TD3Hparams, td3
