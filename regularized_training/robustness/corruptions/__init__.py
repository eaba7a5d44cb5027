"""The corruptions of Hendrycks and Dietterich 2019, in batches, and networks under them."""
