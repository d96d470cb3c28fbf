"""Facts about the MIT-BIH Arrhythmia Database 1.0.0.

Source: Moody & Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE Eng Med Biol 20(3):45-50, 2001; PhysioNet,
ODC-By 1.0.
"""

from __future__ import annotations

RECORDS: tuple[str, ...] = tuple(
    "100 101 102 103 104 105 106 107 108 109 111 112 113 114 115 116 117 118 119 121 122 123 124 "
    "200 201 202 203 205 207 208 209 210 212 213 214 215 217 219 220 221 222 223 228 230 231 232 233 234".split()
)
# The first lead of 45 records and the second lead of record 114. Records 102 and 104 do not have it.
PREFERRED_LEAD = "MLII"
# 201 and 202 are recordings of one patient.
PATIENTS: dict[str, str] = {"202": "201"}
# The Kaggle set was made with this older annotation file of record 102, in which one beat is 34 samples later.
OLDER_ANNOTATIONS: dict[str, str] = {"102": "102-0.atr"}

# Paced records, which EC57 excludes.
PACED: tuple[str, ...] = ("102", "104", "107", "217")
# The training and test records of de Chazal, O'Dwyer & Reilly, IEEE Trans Biomed Eng 51(7):1196-1206, 2004.
DS1: tuple[str, ...] = tuple(
    "101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 223 230".split()
)
DS2: tuple[str, ...] = tuple(
    "100 103 105 111 113 117 121 123 200 202 210 212 213 214 219 221 222 228 231 232 233 234".split()
)
# Parts of DS2 that are evaluated as well, by the records that they leave out: 202 is of the same patient as 201 in DS1,
# and 232 contains three quarters of the supraventricular beats of DS2.
TEST_SUBSETS: dict[str, tuple[str, ...]] = {"test without 202": ("202",), "test without 232": ("232",)}
