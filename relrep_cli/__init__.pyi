from relrep_cli.base.errors import DataError as DataError
from relrep_cli.base.errors import RelrepError as RelrepError
from relrep_cli.base.errors import UsageError as UsageError
from relrep_cli.base.errors import WriteError as WriteError
from relrep_cli.embedding import Embedding as Embedding
from relrep_cli.library.compared_spaces import compare as compare
from relrep_cli.library.compared_spaces import diagnose as diagnose
from relrep_cli.library.drawings import Drawing as Drawing
from relrep_cli.library.drawings import plot as plot
from relrep_cli.library.encodings import embed as embed
from relrep_cli.library.estimators import RelativeProjector as RelativeProjector
from relrep_cli.library.estimators import Translator as Translator
from relrep_cli.library.evaluations import evaluate as evaluate
from relrep_cli.library.given_spaces import as_embedding as as_embedding
from relrep_cli.library.nearest_items import nearest as nearest
from relrep_cli.library.projections import anchor as anchor
from relrep_cli.library.projections import project as project
from relrep_cli.library.result_tables import Result as Result
from relrep_cli.library.result_tables import Results as Results
from relrep_cli.library.saved_maps import SavedMap as SavedMap
from relrep_cli.library.saved_maps import read_map as read_map
from relrep_cli.library.space_files import read as read
from relrep_cli.library.space_files import write as write
from relrep_cli.library.stitches import stitch as stitch
from relrep_cli.library.translations import Translation as Translation
from relrep_cli.library.translations import Universe as Universe
from relrep_cli.library.translations import translate as translate
from relrep_cli.library.translations import universe as universe

__version__: str
__all__: list[str]
