"""The pages, a module each: `page()` draws one, from the top at every change.

The folder is not called `pages`: what lies in such a folder Streamlit would offer as pages of its own.
"""
