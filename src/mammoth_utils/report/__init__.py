"""Report: published figures, claims with their intervals, tables and figures. Reads records; loads no torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "claim_definitions",
        "claims",
        "development",
        "figures",
        "measured_models",
        "published",
        "statistics",
        "table_markup",
        "tables",
    ],
    submod_attrs={
        "executed_pages": ["first_error", "is_finished"],
        "figure_style": ["page_svg"],
        "item_browser": ["open_side_by_side", "problem_link", "write_items"],
        "row_browser": ["browse_rows"],
    },
)
