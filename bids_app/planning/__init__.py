"""Before the study: how often would each claim be supported, with so many people and such an effect?"""
