"""`text.onnx`: a graph that reads texts, made of ONNX Runtime's own operators and the graph of an artifact.

`characters` finds out what a tokenizer does to every character. `pieces` writes the nodes that split texts and look up
what has an id, with `respelling`, `removal` and `n_grams` for rules that no single expression states, and `marks` for
the rule of which emojis and ratings are words. `ids` pads and truncates, and `file` puts all nodes together and names
the label. Nothing here needs a library of ONNX.
"""
