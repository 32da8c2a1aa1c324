"""Key providers: who may wrap and who may unwrap."""
