"""What may teach: similarity, or responses; ``says`` tells which a teacher is."""

from __future__ import annotations

from regularized_training.teachers.responses import ResponseTeacher
from regularized_training.teachers.teacher import SimilarityTeacher

Teacher = SimilarityTeacher | ResponseTeacher
