import Testing

@testable import TandemCore

/// Every order in which two workers can act on one saga, the first of which does not know that it has lost it.
@Suite("Two workers of one saga")
struct SagaSearchTests {
    /// What a step's database knows, and what its effect was.
    private struct Record: Hashable {
        enum Do: Hashable { case absent, done, barred }
        var action = Do.absent
        var isUndone = false
    }

    private struct Home: Hashable {
        var epoch = 1
        var back: [Int]?
        var end: SagaMachine.End?
        var isParked = false
    }

    private struct Worker: Hashable {
        let epoch: Int
        var machine: SagaMachine
        var open: Set<SagaMachine.Action> = []
        var isFenced = false
    }

    private struct World: Hashable {
        var records: [Record]
        var home = Home()
        var workers: [Worker]
    }

    private struct Search {
        let plan: SagaPlan
        /// Breaks the rule on purpose: to see that the search finds it.
        var forgetsBars = false
        var mayFail = true
        var seen: Set<World> = []
        var violations: Set<String> = []
        var ends: Set<String> = []

        mutating func run() {
            var first = Worker(epoch: 1, machine: SagaMachine(plan))
            first.open = Set(first.machine.on(.begin))
            var open = [World(records: plan.steps.map { _ in Record() }, workers: [first])]
            while let world = open.popLast() {
                guard seen.insert(world).inserted else { continue }
                check(world)
                open += next(world)
            }
        }

        private mutating func check(_ world: World) {
            if world.home.end == .completed, world.records.contains(where: { $0.action != .done || $0.isUndone }) {
                violations.insert("completed, and not all is done")
            }
            // Whatever the other worker still does: nothing may be left.
            let left = world.records.indices.filter { plan.steps[$0].hasUndo && world.records[$0].action == .done && !world.records[$0].isUndone }
            if world.home.end == .compensated, !left.isEmpty { violations.insert("compensated, and an effect is left") }
            if world.home.end == .compensated, let pivot = plan.pivot, world.records[pivot].action == .done { violations.insert("compensated past the pivot") }
            if let end = world.home.end { ends.insert(end.rawValue) }
            let isStill = world.workers.allSatisfy { $0.isFenced || $0.open.isEmpty }
            if isStill, world.home.end == nil, !world.home.isParked, world.workers.count == 2 { violations.insert("nobody goes on") }
        }

        private func next(_ world: World) -> [World] {
            var worlds: [World] = []
            if world.workers.count == 1, world.home.end == nil { worlds.append(takenOver(world)) }
            for (number, worker) in world.workers.enumerated() where !worker.isFenced {
                for action in worker.open { worlds += act(world, number, action) }
            }
            return worlds
        }

        private func takenOver(_ world: World) -> World {
            var world = world
            world.home.epoch = 2
            var worker = Worker(epoch: 2, machine: SagaMachine(plan, done: Set(world.home.back ?? []), isBack: world.home.back != nil))
            worker.open = Set(worker.machine.on(.begin))
            world.workers.append(worker)
            return world
        }

        private func act(_ world: World, _ number: Int, _ action: SagaMachine.Action) -> [World] {
            func after(_ event: SagaMachine.Event?, _ change: (inout World) -> Void = { _ in }) -> World {
                var world = world
                change(&world)
                world.workers[number].open.remove(action)
                if let event { world.workers[number].open.formUnion(world.workers[number].machine.on(event)) }
                return world
            }
            let isOwner = world.workers[number].epoch == world.home.epoch
            func fenced() -> World { after(nil) { $0.workers[number].isFenced = true } }
            switch action {
            case .run(let step):
                switch world.records[step].action {
                case .done: return [after(.done(step))]
                case .barred: return [after(.failed(step))]
                case .absent:
                    let done = after(.done(step)) { $0.records[step].action = .done }
                    // Behind the pivot nothing fails for good here: that would need an operator.
                    let isSafe = world.workers[number].machine.isPastPivot
                    return mayFail && !isSafe ? [done, after(.failed(step))] : [done]
                }
            case .halt: return [after(nil)]
            case .bar(let step):
                if world.records[step].action == .done { return [after(.foundDone(step))] }
                return [after(.barred(step)) { if !forgetsBars { $0.records[step].action = .barred } }]
            case .turnBack(let done):
                guard isOwner else { return [fenced()] }
                return [after(.turnedBack) { $0.home.back = done }]
            case .undo(let step): return [after(.undone(step)) { $0.records[step].isUndone = true }]
            case .finish(let end):
                guard isOwner else { return [fenced()] }
                return [after(nil) { $0.home.end = end }]
            case .park:
                guard isOwner else { return [fenced()] }
                return [after(nil) { $0.home.isParked = true }]
            }
        }
    }

    private static let plans: [SagaPlan] = [
        SagaPlan([.init(), .init(needs: [0]), .init(needs: [1])]),
        SagaPlan([.init(), .init(), .init(needs: [0, 1])]),
        SagaPlan([.init(), .init(needs: [0], hasUndo: false), .init(needs: [0])]),
        SagaPlan([.init(), .init(needs: [0], hasUndo: false, isPivot: true), .init(needs: [1], hasUndo: false)]),
        SagaPlan([.init(), .init(), .init(needs: [0, 1], hasUndo: false, isPivot: true), .init(needs: [2], hasUndo: false)]),
    ]

    @Test("all is done or nothing is left, whatever the first worker still does", arguments: plans.indices)
    func search(_ index: Int) {
        var search = Search(plan: Self.plans[index])
        search.run()
        #expect(search.violations == [] && search.ends == ["completed", "compensated"])
        #expect(search.seen.count > 100)
    }

    @Test("without the records of barred steps the search finds what is left")
    func broken() {
        var search = Search(plan: Self.plans[0], forgetsBars: true)
        search.run()
        #expect(search.violations.contains("compensated, and an effect is left"))
    }
}
