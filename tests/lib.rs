//! Whole-program tests of coordinator; each file beside this one is one theme.
