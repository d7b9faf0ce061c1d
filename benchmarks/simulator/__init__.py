"""Shoppers that do not exist: a simulation, fitted to what real ones did.

What they buy and when is fitted to a data set's training part; how they look at a page and click
is a model with assumed numbers (`clicks.ClickModel`), because data without impressions cannot tell.
Whatever is measured on them is a simulation and is called so.
"""
