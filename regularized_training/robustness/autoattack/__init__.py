"""AutoAttack (Croce and Hein 2020): four attacks, one after the other, in given balls."""
