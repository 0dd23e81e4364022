"""The pages, a module each: `page()` draws one, from the top at every change."""
