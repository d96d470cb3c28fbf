"""Protocols: how beats are divided into training, validation and test subsets.

| protocol       | test subset                                          | validation subset | a patient is in |
|----------------|------------------------------------------------------|-------------------|-----------------|
| kaggle         | the 21,892 rows of the Kaggle set                    | beats, stratified | several subsets |
| inter_patient  | the published records, or a fraction of the patients | patients          | one subset      |
| patient_kfold  | one fold of the patients                             | patients          | one subset      |
| cross_database | all records of another database                      | patients          | one subset      |
| random         | a fraction of the beats of each class                | beats, stratified | several subsets |
| all_records    | a small fraction of the beats of two databases       | none              | several subsets |

The validation subset is a fraction of the beats or patients that are not in the test subset.
"""
