"""The parts, by name. A part is a module with

TITLE: a line; TEXT: what a case does and what is promised; IN_CI and IN_FULL: the numbers of cases;
run(count, seed, folder): yields the Outcomes of that many cases, whose random choices follow from the seed.
"""

from reliability import cost, damage, disk, endurance, hostile, kill, numbers, peers, wrong_input

PARTS = {
    "kill": kill,
    "damage": damage,
    "disk": disk,
    "numbers": numbers,
    "peers": peers,
    "wrong_input": wrong_input,
    "hostile": hostile,
    "endurance": endurance,
    "cost": cost,
}
