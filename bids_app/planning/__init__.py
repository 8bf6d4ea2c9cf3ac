"""Before the study: how often would each claim be supported, with so many people and such an effect?"""

#: Patterns of loss: a few regions here and there, those of Alzheimer's disease, a third of the brain.
PATTERNS = ("scattered", "medial-temporal", "widespread")
