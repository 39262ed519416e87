"""The classification API of vLLM and SGLang."""
