"""Whatever is read from outside, in every form it may have: an answer or a refusal, never a defect."""
