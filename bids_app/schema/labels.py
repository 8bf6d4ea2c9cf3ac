"""What may be said of a region in a contrast: one label each."""

from __future__ import annotations

KEPT, PARTLY, LOST = "kept", "partly kept", "lost"
CARRIED_ONLY, NOT_CARRIED, NEITHER = "carried without difference", "differs, not carried", "neither"
#: Label -> what it means, in a sentence.
MEANINGS = {
    KEPT: "the groups differ, most of the difference is in the reconstructions, and these follow the region from "
    "person to person within the groups",
    PARTLY: "the same, but part of the difference is missing from the reconstructions",
    LOST: "the groups differ, and the reconstructions miss most of the difference: the latent space is blind to it",
    CARRIED_ONLY: "the reconstructions follow the region from person to person, but no difference was found",
    NOT_CARRIED: "the groups differ, but the reconstructions do not follow the region within the groups, or do not "
    "differ surely enough themselves, so this says nothing about the latent space",
    NEITHER: "no difference was found, and the reconstructions do not follow the region",
}
LABELS = tuple(MEANINGS)
#: Labels of regions that differ, family-wise.
DIFFERING = (KEPT, PARTLY, LOST, NOT_CARRIED)
#: Least share of a region's variance within the groups: below it, a region is followed in name only.
CARRIED_R2 = 0.1
