"""Why a product was put on its shelf: Shapley values of words and of parts of the picture."""
