"""How items are encoded in other processes, which read the source themselves."""

from __future__ import annotations

from relrep_cli import encoders
from relrep_cli.base.registry import load_plugins
from relrep_cli.cli.embed import Options, items_of
from relrep_cli.encoders import pretrained
from relrep_cli.encoders.item_rows import ItemRows, rows_of
from relrep_cli.engine.jobs import listening
from relrep_cli.store.shared_rows import Blocks


def rows_of_process(shared: ItemRows) -> Blocks:
    """The vectors of a process of its own. The main process has printed the notes on the source."""
    options: Options = shared.options
    load_plugins()
    with listening():
        trained = encoders.load(shared.encoder) if shared.encoder else None
        items = items_of(options, trained)
        model = None if trained else pretrained.open_model(options.encoder, items, options.device, shared.params)[0]
    return rows_of(items, shared, trained, model, options.device)
