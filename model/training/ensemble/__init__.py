"""The recipe of the preset `text-ensemble`: small networks that are trained together and averaged into one."""
