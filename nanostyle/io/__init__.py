"""Files: pictures, weights, recipes, and the files of other programs."""
