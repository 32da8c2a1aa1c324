"""Key providers: who may wrap keys, who may unwrap them, and the files local keys live in."""
