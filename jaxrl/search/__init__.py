"""Tree search over a model: of a game's rules, or a learned one."""

from jaxrl.search.gumbel import gumbel_search
from jaxrl.search.puct import puct_search
from jaxrl.search.tree import Expansion, Model, Root, Searched, Statistics, Tree, search
