"""Decides with oslo.policy. Reads sets of rules and sets of files as JSON, and writes the decisions as lists of booleans."""

import json
import logging
import sys
import warnings

from oslo_config import cfg
from oslo_policy import policy

logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")


def enforcer(**options):
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    return policy.Enforcer(conf, default_rule="default", **options)


def of_sets(cases):
    judge = enforcer(use_conf=False)
    for case in cases:
        judge.set_rules(policy.Rules.from_dict(dict(case["rules"]), "default"))
        yield [
            [bool(judge.enforce(rule, asked["target"], dict(asked["caller"]))) for rule, _ in case["rules"]]
            for asked in case["questions"]
        ]


def default(rule):
    old = rule["old"]
    if old is not None:
        old = policy.DeprecatedRule(
            name=old["name"] or rule["name"], check_str=old["check"], deprecated_reason="-", deprecated_since="-"
        )
    return policy.RuleDefault(rule["name"], rule["check"], deprecated_rule=old)


def of_files(table, cases, callers, target):
    for case in cases:
        judge = enforcer(policy_file=case["file"])
        judge.conf.set_override("policy_dirs", [case["directory"]], "oslo_policy")
        judge.conf.set_override("enforce_new_defaults", case["enforce_new_defaults"], "oslo_policy")
        judge.register_defaults([default(rule) for rule in table])
        yield [[bool(judge.enforce(rule["name"], target, dict(caller))) for rule in table] for caller in callers]


asked = json.load(sys.stdin)
json.dump(
    {
        "sets": list(of_sets(asked["sets"])),
        "files": list(of_files(asked["table"], asked["files"], asked["callers"], asked["target"])),
    },
    sys.stdout,
)
