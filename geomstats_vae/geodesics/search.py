"""The search for geodesics: which curves are minimised, and which of them are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.certificate import certify
from geomstats_vae.geodesics.curves.chain import Curves, chain_together, straight
from geomstats_vae.geodesics.curves.path import GeodesicPath, SolvedCurves
from geomstats_vae.geodesics.curves.times import times_of
from geomstats_vae.geodesics.descent import Descended, descend, first_descent, moved_sines
from geomstats_vae.geodesics.graph.latent_graph import LatentGraph
from geomstats_vae.geodesics.minimise import minimise
from geomstats_vae.geodesics.minimised import Minimised
from geomstats_vae.geodesics.model import CurveModel
from geomstats_vae.geodesics.options import GuessOptions, StartOptions, Task
from geomstats_vae.geodesics.race import race
from geomstats_vae.geodesics.starts import (
    Descent,
    Guess,
    Start,
    by_rank,
    first_polylines,
    is_astray,
    steep_paths,
)
from geomstats_vae.geodesics.status import GeodesicStatus
from geomstats_vae.geodesics.tabulated import TabulatedSearch


class Search:
    """The search for the geodesics of a block of pairs, with the best curve of each so far."""

    def __init__(
        self,
        models: Mapping[int, CurveModel],
        start: Floats,
        end: Floats,
        graph: LatentGraph | None,
        task: Task,
        starts: StartOptions,
        guesses: GuessOptions,
        descent: Descent | None = None,
        tabulated: TabulatedSearch | None = None,
    ) -> None:
        self.models, self.graph, self.task = models, graph, task
        self.start, self.end = start, end
        self._start_options, self.guess_options = starts, guesses
        self._descent, self._tabulated = descent, tabulated
        self.on_grid = graph is not None and graph.on_grid
        n_pairs, dim = start.shape
        # Pairs that are still to be solved; the ends of the others are the same point.
        self.open = np.flatnonzero((start != end).any(axis=1))
        self.nodes: list[Floats | None] = [None] * n_pairs
        self.drift, self.graph_length = np.zeros(n_pairs), np.full(n_pairs, np.nan)
        self.length, self.velocity = np.zeros(n_pairs), np.zeros((n_pairs, 2, dim))
        self.residual, self.length_error = np.zeros((2, n_pairs))
        self.status = np.full(n_pairs, int(GeodesicStatus.CONVERGED))
        self.n_iter = np.zeros(n_pairs, dtype=int)
        self._by_table = np.zeros(n_pairs, dtype=bool)
        for column in (self.length, self.residual, self.length_error):
            column[self.open] = np.inf
        self.status[self.open] = GeodesicStatus.NON_FINITE

    @property
    def converged(self) -> Bools:
        """Pairs with a converged curve, shape=[n_pairs]."""
        return self.status == GeodesicStatus.CONVERGED

    def run(self, guess: SolvedCurves | None) -> GeodesicPath:
        """Search from the guess, and from afar for the pairs that are open then."""
        if guess is not None:
            self._search_from(guess)
        if self._tabulated is not None and len(self.open):
            self._search_table(self._tabulated)
        for start in self._starts():
            self._try(start)
        return self.path()

    def _try(self, start: Start) -> None:
        """Shorten curves, and keep those that are the shortest of their pairs."""
        if start.race is None:
            self._keep_if_better(start.pairs, minimise(start.model, start.curves, start.task))
            return
        found = race(start.model, start.curves, start.pairs, start.task, start.race)
        first = np.unique(start.pairs, return_index=True)[1]
        for rows in (first, np.setdiff1d(np.arange(len(start.pairs)), first)):
            self._keep_if_better(start.pairs[rows], found.take(rows))

    def _search_table(self, tabulated: TabulatedSearch) -> None:
        """Search by a table; pairs with a curve that the decoder certifies are no longer open."""
        pairs = self.open
        found = tabulated.from_afar(self.start[pairs], self.end[pairs])
        self._keep_if_better(pairs, found, found.settled)
        self._by_table[pairs] = found.settled
        # Others that the table knows are nearly geodesics: the decoder's own steps go on from them.
        # Where no step can be told a curve may be in any valley, and the search begins anew.
        known = np.isfinite(found.length) & np.isfinite(found.residual)
        near = np.flatnonzero(~found.settled & known)
        if len(near):
            model, curves = self.models[tabulated.degree], found.curves.take(near)
            task = replace(self.task, look_first=True)
            finished = minimise(model, curves, task)
            self._keep_if_better(pairs[near], finished, finished.settled)
            found.settled[near] = finished.settled
        self.open = pairs[~found.settled]

    def give_up(self) -> GeodesicPath:
        """Give no curves to the open pairs: the time was over before they were begun."""
        self.status[self.open] = GeodesicStatus.OUT_OF_TIME
        return self.path()

    def follow(self, guess: SolvedCurves) -> tuple[GeodesicPath, Bools]:
        """Search from the guess only; the curves, and which pairs have an answer."""
        self._search_from(guess)
        answered = np.ones(len(guess), dtype=bool)
        answered[self.open] = False
        return self.path(), answered

    def continue_from(self, curves: SolvedCurves) -> GeodesicPath:
        """Shorten curves between the same end points, as they are: those of a nearby metric.

        Parameters
        ----------
        curves : SolvedCurves
            As many curves as there are pairs. Pairs without a curve get no answer.

        Returns
        -------
        path : GeodesicPath
            The shortened curves.
        """
        for degree in self.models:
            pairs = [k for k in self.open if _degree(curves.nodes[k]) == degree]
            if pairs:
                chains = chain_together([curves.nodes[k] for k in pairs])
                found = minimise(self.models[degree], chains, self.task)
                self._keep_if_better(np.array(pairs), found)
        return self.path()

    def accept(self, found: Minimised) -> GeodesicPath:
        """Take curves that were found otherwise, one for each open pair."""
        self._keep_if_better(self.open, found)
        return self.path()

    @property
    def line_degree(self) -> int:
        """Degree of the elements that straight lines start with."""
        return self._start_options.line_degree

    def _search_from(self, curves: SolvedCurves) -> None:
        """Go on from other curves; pairs that have an answer then are no longer open."""
        options, rtol = self.guess_options, self.task.limits.rtol
        metrics = self.models[self._start_options.line_degree].metrics
        guess = Guess(curves, self.start, self.end, metrics, rtol, options)
        if self._descent is not None and self.task.limits.tol >= self._descent.options.alone:
            self._descend_from(guess)
            return
        usable = guess.usable if self.on_grid else guess.fresh
        if self.on_grid and self._tabulated is not None:
            usable = guess.there  # steps are cheap, and lead back from farther
        answered = np.zeros(len(curves), dtype=bool)
        for group in guess.groups(self.open[usable[self.open]]):
            if group.degree not in self.models:
                continue  # of a solver with other options
            pairs = group.pairs
            task = replace(
                self.task,
                look_first=group.steady,
                length_error=guess.length_error[pairs] if group.fresh else None,
                hopeless=options.hopeless,
                max_looks=options.max_looks,
            )
            if self._tabulated is not None and group.degree == self._tabulated.degree:
                found = self._tabulated.settle(guess.curves(pairs))
                self._by_table[pairs] = found.settled
            else:
                found = minimise(self.models[group.degree], guess.curves(pairs), task)
            good, graph_length = found.settled, guess.graph_length(pairs)
            doubtful = np.flatnonzero(good)
            if len(doubtful) and not group.fresh and self.graph is not None:
                # On a grid lengths keep closely in proportion.
                left, graph_length[doubtful] = guess.left_valleys(
                    pairs[doubtful],
                    found.length[doubtful],
                    self.graph,
                    strict=self.on_grid,
                )
                good[doubtful] = ~left
            # Of pairs that are searched anew it is known, too.
            self.graph_length[pairs[doubtful]] = graph_length[doubtful]
            self.drift[pairs[good]] = guess.drift[pairs[good]]
            self._keep_if_better(pairs, found, good)
            answered[pairs[good]] = True
        self.open = self.open[~answered[self.open]]
        if self._descent is not None:
            self._descend_from(guess)

    def _descend_from(self, guess: Guess) -> None:
        """Let curves of a guess descend; pairs that have an answer then are no longer open."""
        assert self._descent is not None
        pairs = self.open[guess.there[self.open]]
        if not len(pairs):
            return
        options, model = self._descent.options, self.models[self.line_degree]
        moved = moved_sines(*guess.displaced(pairs), options.modes)
        found = descend(self._descent.immersion, moved, options, self.task.limits.deadline)
        left, graph_length = np.zeros(len(pairs), dtype=bool), guess.graph_length(pairs)
        if self.graph is not None:
            left, graph_length = guess.left_valleys(pairs, found.length, self.graph)
        # The answer is never longer than the straight line.
        t = np.linspace(0.0, 1.0, options.chords + 1)[:, None]
        start, end = self.start[pairs, None], self.end[pairs, None]
        line = model.chord_lengths(start + t * (end - start))
        left |= ~(found.length <= line * (1.0 + self.task.limits.rtol)) & np.isfinite(line)
        stayed, kept = pairs[~left], np.flatnonzero(~left)
        for near in self._after(stayed, found.take(kept)):
            self._keep_if_better(near.pairs, minimise(near.model, near.curves, near.task))
        self.graph_length[stayed], self.drift[stayed] = graph_length[~left], 0.0
        answered = np.zeros(len(self.start), dtype=bool)
        answered[stayed] = self.converged[stayed]
        self.open = self.open[~answered[self.open]]

    def _starts(self) -> Iterator[Start]:
        """Straight lines, graph paths and other graph paths, as the answers so far ask for."""
        options, pairs, graph = self._start_options, self.open, self.graph
        if not len(pairs):
            return
        start, end = self.start[pairs], self.end[pairs]
        if self._descent is not None:
            yield from self._descended(start, end)
            if graph is not None:
                # The answer is never longer than the straight line.
                line = graph.line_lengths(start, end)
                yield from self._lines(
                    ~(self.length[pairs] <= line * (1.0 + self.task.limits.rtol))
                )
            return
        if graph is None:
            yield from self._lines(np.ones(len(pairs), dtype=bool))
            return
        line = graph.line_lengths(start, end)
        found, cost, rivals, owner = self._paths(start, end, options.graph_limit * line)
        paths = dict(enumerate(found))
        factor = options.line_on_grid if self.on_grid else options.line_on_codes
        yield from self._lines(~(line > factor * cost))
        around = np.isfinite(cost) & (line > cost)
        if self.on_grid:
            around &= ~self.converged[pairs]
        steep = around & (line > options.steep * cost)
        gentle_mesh = options.gentle_degree, options.gentle_elements
        steep_mesh = options.steep_degree, options.steep_elements
        yield from self._along(paths, around & ~steep, gentle_mesh)
        yield from self._steep(paths, cost, steep)
        yield from self._along(paths, around & ~steep & ~self.converged[pairs], steep_mesh)
        if self.on_grid and not self.task.limits.deadline.passed:
            aside = np.isfinite(cost) & (cost > 0.0) & ~around
            aside &= cost <= options.aside * self.length[pairs]
            for seconds in (
                self._astray(paths, aside),
                *by_rank(rivals, owner)[: options.rivals],
            ):
                chosen = np.zeros(len(pairs), dtype=bool)
                chosen[list(seconds)] = True
                trial = options.gentle_trial * self.length[pairs]
                yield from self._along(seconds, chosen & ~steep, gentle_mesh, trial)
        yield from self._lines(~(self.length[pairs] <= line * (1.0 + self.task.limits.rtol)))

    def _paths(
        self, start: Floats, end: Floats, limit: Floats
    ) -> tuple[list[Floats], Floats, list[Floats], Ints]:
        """Find graph paths and their lengths, and on a grid second ones with their pairs."""
        assert self.graph is not None
        if self.on_grid:
            return self.graph.paths_and_rivals(start, end, limit)
        return *self.graph.paths(start, end, limit), [], np.zeros(0, dtype=int)

    def _steep(self, paths: Mapping[int, Floats], cost: Floats, chosen: Bools) -> Iterator[Start]:
        """Race curves along the graph paths of some open pairs, those about walls."""
        options, which = self._start_options, np.flatnonzero(self._in_time(chosen))
        if not len(which) or self.graph is None:
            return
        lanes, owner = steep_paths(self.graph, paths, cost, which, options.alternative)
        model, most = self.models[options.steep_degree], self.task.limits.max_elements
        nodes = self.graph.place(lanes, model.element, options.steep_elements, most)
        yield Start(self.open[owner], model, chain_together(nodes), self.task, options.race)

    def _astray(self, paths: Mapping[int, Floats], chosen: Bools) -> dict[int, Floats]:
        """Take graph paths of open pairs that are far from the curves which lines became."""
        assert self.graph is not None
        most = self._start_options.astray * self.graph.spacing
        nodes = {k: self.nodes[self.open[k]] for k in np.flatnonzero(chosen)}
        return {k: paths[k] for k, curve in nodes.items() if is_astray(paths[k], curve, most)}

    def _in_time(self, chosen: Bools) -> Bools:
        """Which of some open pairs are still to be tried: late ones if they have no curve."""
        if not self.task.limits.deadline.passed:
            return chosen
        return chosen & ~(self.length[self.open] < np.inf)

    def _descended(self, start: Floats, end: Floats) -> Iterator[Start]:
        """Curves that are nearly geodesics already, of all open pairs."""
        assert self._descent is not None
        immersion, options = self._descent.immersion, self._descent.options
        polylines, owner = first_polylines(self.graph, start, end, self._start_options.graph_limit)
        deadline = self.task.limits.deadline
        return self._after(self.open, first_descent(immersion, polylines, owner, options, deadline))

    def _after(self, pairs: Ints, found: Descended) -> Iterator[Start]:
        """Take curves that have descended to where they are asked to be; the others go on."""
        assert self._descent is not None
        options, model = self._descent.options, self.models[self.line_degree]
        left = np.arange(len(pairs))
        if self.task.limits.tol >= options.alone:
            limits = self.task.limits
            mesh = options.alone_elements, options.chords
            certified = certify(model, found, *mesh, limits.rtol, limits.deadline)
            enough = certified.residual <= limits.tol
            enough &= certified.status == GeodesicStatus.CONVERGED
            self._keep_if_better(pairs, certified, enough)
            left = np.flatnonzero(~enough)
        else:
            self.n_iter[pairs] += found.n_iter
        curves = found.curves.take(left).elements(options.n_elements, model.element.degree)
        if len(left):
            yield Start(pairs[left], model, curves, self.task)

    def _lines(self, chosen: Bools) -> Iterator[Start]:
        """Straight lines of some of the open pairs."""
        pairs, model = self.open[chosen], self.models[self._start_options.line_degree]
        if len(pairs):
            ends = self.start[pairs], self.end[pairs]
            curves = straight(*ends, model.line_elements, model.element.degree)
            yield Start(pairs, model, curves, self.task)

    def _along(
        self,
        paths: Mapping[int, Floats],
        chosen: Bools,
        mesh: tuple[int, int],
        trial_length: Floats | None = None,
    ) -> Iterator[Start]:
        """Curves along the graph paths of some of the open pairs."""
        which = np.flatnonzero(self._in_time(chosen))
        if not len(which) or self.graph is None:
            return
        model, task = self.models[mesh[0]], self.task
        chosen_paths, most = [paths[k] for k in which], task.limits.max_elements
        nodes = self.graph.place(chosen_paths, model.element, mesh[1], most)
        if trial_length is not None:
            steps = self._start_options.trial_steps
            task = replace(task, trial_steps=steps, trial_length=trial_length[which])
        yield Start(self.open[which], model, chain_together(nodes), task)

    def _keep_if_better(self, pairs: Ints, found: Minimised, among: Bools | None = None) -> None:
        """Take those of the curves that are shorter than what is held for their pairs."""
        self.n_iter[pairs] += found.n_iter
        # A converged curve gives way only to one that is shorter by more than its tolerance.
        share = np.where(self.converged[pairs], 1.0 - self._start_options.margin, 1.0)
        better = found.length < share * self.length[pairs]
        if among is not None:
            better &= among
        for name in ("length", "velocity", "residual", "length_error", "status"):
            getattr(self, name)[pairs[better]] = getattr(found, name)[better]
        offsets = found.curves.offsets
        for k in np.flatnonzero(better):
            self.nodes[pairs[k]] = found.curves.nodes[offsets[k] : offsets[k + 1]]

    def path(self) -> GeodesicPath:
        """Give the best curves so far; pairs without one have infinite length."""
        if self._tabulated is not None and self._tabulated.options.lengths_only:
            # The curves themselves are not asked for.
            points, degree = np.stack((self.start, self.end), axis=1), 1
            times = np.tile([0.0, 1.0], (len(points), 1))
        else:
            points, times = self._points_and_times()
            degree = self._start_options.path_degree
        converged = self.converged
        curves = SolvedCurves(
            start=self.start,
            end=self.end,
            nodes=self.nodes,
            length=self.length.copy(),
            length_error=self.length_error.copy(),
            converged=converged.copy(),
            drift=self.drift,
            graph_length=self.graph_length,
            width=np.zeros(len(converged)),
        )
        return GeodesicPath(
            points=points,
            times=times,
            length=self.length,
            energy=0.5 * self.length**2,
            initial_velocity=self.velocity[:, 0],
            final_velocity=self.velocity[:, 1],
            converged=converged,
            status=self.status,
            residual=self.residual,
            length_error=self.length_error,
            n_iter=self.n_iter,
            width=np.zeros(len(converged)),
            degree=degree,
            curves=curves,
        )

    def _points_and_times(self) -> tuple[Floats, Floats]:
        """Nodes of all curves at one degree, and times in proportion to the arc length."""
        degree = self._start_options.path_degree
        degrees = np.array([_degree(nodes) for nodes in self.nodes], dtype=int)
        counts = np.array([1 if nodes is None else len(nodes) for nodes in self.nodes], dtype=int)
        most = int(counts.max(initial=1))
        points = np.repeat(self.end[:, None], most * degree + 1, axis=1)
        arcs = np.zeros((len(counts), most, degree + 1))
        for old in np.unique(degrees):
            pairs = np.flatnonzero(degrees == old)
            if old:
                curves = chain_together([self.nodes[k] for k in pairs])
                arc = self._arc_lengths(curves, self._by_table[pairs], degree)
            else:
                curves = straight(self.start[pairs], self.end[pairs], 1, degree)
                arc = np.tile(np.linspace(0.0, 1.0, degree + 1), (len(pairs), 1))
            place = np.arange(len(arc)) - curves.offsets[curves.owner]
            arcs[pairs[curves.owner], place] = arc
            inner = place[:, None] * degree + np.arange(degree)
            raised = curves.raise_degree(degree).nodes
            points[pairs[curves.owner][:, None], inner] = raised[:, :-1]
        points[:, 0] = self.start  # exactly, whatever the change of the degree rounds
        return points, times_of(arcs, counts * degree + 1)

    def _arc_lengths(self, curves: Curves, by_table: Bools, degree: int) -> Floats:
        """Lengths from each element's start to its nodes of a degree, by the table or by F."""
        tabulated = by_table[curves.owner]
        arc = np.empty((len(tabulated), degree + 1))
        if self._tabulated is not None:
            arc[tabulated] = self._tabulated.arc_lengths(curves.nodes[tabulated], degree)
        model = self.models[curves.degree]
        arc[~tabulated] = model.arc_lengths(curves.nodes[~tabulated], degree)
        return arc


def _degree(nodes: Floats | None) -> int:
    """Degree of the elements of a curve; 0 where there is none."""
    return 0 if nodes is None else nodes.shape[1] - 1
