"""Facts about the MIT-BIH Arrhythmia Database 1.0.0 (Moody & Mark 2001, PhysioNet, ODC-By 1.0)."""

from __future__ import annotations

URL = "https://physionet.org/files/mitdb/1.0.0"

RECORDS: tuple[str, ...] = tuple(
    "100 101 102 103 104 105 106 107 108 109 111 112 113 114 115 116 117 118 119 121 122 123 124 "
    "200 201 202 203 205 207 208 209 210 212 213 214 215 217 219 220 221 222 223 228 230 231 232 233 234".split()
)
# Record 102 has an older annotation file; the Kaggle set was made with it.
OLDER_ANNOTATION = "102-0.atr"

# Two recordings of one person.
PATIENT_OF: dict[str, str] = {"202": "201"}

# Paced records, which EC57 leaves out of the inter-patient evaluation.
PACED: tuple[str, ...] = ("102", "104", "107", "217")
# The two halves of de Chazal, O'Dwyer & Reilly 2004 (IEEE Trans Biomed Eng 51(7):1196-1206).
DS1: tuple[str, ...] = tuple(
    "101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 223 230".split()
)
DS2: tuple[str, ...] = tuple(
    "100 103 105 111 113 117 121 123 200 202 210 212 213 214 219 221 222 228 231 232 233 234".split()
)
