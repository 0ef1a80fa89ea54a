/** How long the old secret of a rotated key still works. */
export const OVERLAP_HOURS = 24;
