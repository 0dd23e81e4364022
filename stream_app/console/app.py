"""The script that Streamlit runs at every change: which pages there are, and the visitor's key."""

import streamlit as st

from stream_app.console import session
from stream_app.console.views import live, models, test_set, try_product

PAGES = (
    (try_product.page, "Try a product", ":material/category_search:", None),
    (live.page, "Live", ":material/stream:", "live"),
    (test_set.page, "Test set", ":material/fact_check:", "test-set"),
    (models.page, "Models", ":material/model_training:", "models"),
)


def main() -> None:
    """Draw the page that was chosen."""
    st.set_page_config(
        page_title="Shelver",
        page_icon="📦",
        layout="wide",
        initial_sidebar_state="collapsed",
    )
    chosen = st.navigation(
        [st.Page(page, title=title, icon=icon, url_path=path) for page, title, icon, path in PAGES],
        position="top",
    )
    with st.sidebar.expander("API key", icon=":material/key:"):
        st.text_input(
            "Your key",
            type="password",
            key=session.KEY,
            on_change=session.forget,
            help="Where the gateway wants one and the console has none. It is kept until you leave the page.",
        )
    chosen.run()


main()
