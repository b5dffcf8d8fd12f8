"""Several models as one: the mean of their probabilities, wherever a model stands."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import inputs_of, model_for, same_weights, small_configuration
from strategies import dataset_of

from hrnn_hpo.data.repeats import own_items_after
from hrnn_hpo.data.splits import make_split
from hrnn_hpo.model.encode import encode
from hrnn_hpo.model.ensemble import Ensemble
from hrnn_hpo.model.folder import SplitRecord, keep_model, load_model, read_record, write_model
from hrnn_hpo.serving.explain import explain
from hrnn_hpo.serving.recommender import Recommender
from hrnn_hpo.serving.state import Event, UserStates

LOG = dataset_of([[user % 5, 1, user % 3, 4, user % 5, 5, user % 7] for user in range(12)], n_items=9)
KINDS = [{}, {"architecture": "hierarchical", "n_blocks": 2}, {"recency_mask": True, "repeats": "ignored"}]
LAST = (np.asarray(LOG.user_offsets)[:-1], LOG.history_lengths + 0)


@pytest.mark.parametrize("changes", KINDS)
@torch.no_grad()
def test_an_ensembles_probabilities_are_the_mean_of_its_members(changes: dict[str, object]) -> None:
    members = [model_for(LOG, seed=seed, **{"repeats": "mixed", **changes}) for seed in (1, 2, 3)]
    several = Ensemble(members)
    own = own_items_after(np.repeat(np.arange(LOG.n_users), LOG.history_lengths), LOG.items, LOG.timestamps)
    outputs = [encode(member, inputs_of(LOG), *LAST) for member in members]
    together = encode(several, inputs_of(LOG), *LAST)
    torch.testing.assert_close(together, torch.cat(outputs, dim=1))
    for name in ("score_after", "score", "score_without_own"):
        more = (own,) if name == "score_after" else ()
        found = getattr(several, name)(together, *more).exp()
        alone = [getattr(member, name)(one, *more) for member, one in zip(members, outputs, strict=True)]
        if name != "score_without_own":
            alone = [torch.log_softmax(scores, dim=1) for scores in alone]
            torch.testing.assert_close(found.sum(dim=1), torch.ones(LOG.n_users))
        torch.testing.assert_close(found, torch.stack(alone).exp().mean(dim=0))


def test_an_ensemble_of_one_model_ranks_as_the_model(tmp_path: Path) -> None:
    configuration, split = small_configuration(repeats="mixed"), make_split(LOG, "none", 0)
    record = SplitRecord("none", 0, LOG.content_hash, "keep")
    single = keep_model(model_for(LOG, repeats="mixed"), configuration, LOG, split, record)
    twice = replace(single, model=Ensemble([model_for(LOG, repeats="mixed") for _ in range(2)]))
    for user in ("u00", "u07", "stranger"):
        ours, theirs = (Recommender(saved).recommend(user, 9) for saved in (twice, single))
        assert [one.item for one in ours] == [one.item for one in theirs]
        assert [one.score for one in ours] == pytest.approx([one.score for one in theirs], rel=1e-4)
    ours_told, theirs_told = (explain(Recommender(saved), "u03") for saved in (twice, single))
    assert ours_told.item == theirs_told.item
    assert ours_told.repeat_share == pytest.approx(theirs_told.repeat_share, abs=1e-4)
    for first, second in zip(ours_told.influences, theirs_told.influences, strict=True):
        assert first.influence == pytest.approx(second.influence, abs=1e-4)
    live = [UserStates(Recommender(saved)) for saved in (twice, single)]
    for states in live:
        states.put("s", [Event("i04", 1_000), Event("i08", 9_000)], "u05")
    ours, theirs = (states.recommend("u05", 9) for states in live)
    assert [one.score for one in ours] == pytest.approx([one.score for one in theirs], rel=1e-4)


def test_an_ensembles_folder_holds_every_member(tmp_path: Path) -> None:
    configuration, split = small_configuration(repeats="mixed"), make_split(LOG, "none", 0)
    members = [model_for(LOG, seed=seed, repeats="mixed") for seed in (1, 2)]
    record = SplitRecord("none", 0, LOG.content_hash, "keep", n_members=2)
    write_model(tmp_path / "model", keep_model(Ensemble(members), configuration, LOG, split, record))
    found = load_model(tmp_path / "model")
    assert isinstance(found.model, Ensemble)
    assert found.split.n_members == 2
    for ours, theirs in zip(found.model.members, members, strict=True):
        assert same_weights(ours, theirs)
    assert not found.model.training
    single = keep_model(members[0], configuration, LOG, split, replace(record, n_members=1))
    write_model(tmp_path / "single", single)
    assert "n_members" not in (tmp_path / "single" / "split.json").read_text()
    assert read_record(tmp_path / "single").n_members == 1
