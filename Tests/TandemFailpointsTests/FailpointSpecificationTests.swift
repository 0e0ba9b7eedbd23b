import Testing

@testable import TandemFailpoints

@Suite("What a failpoint specification says")
struct FailpointSpecificationTests {
    @Test("a step without a count is good for every hit")
    func endless() throws {
        var specification = try FailpointSpecification("after_prepare=error")
        #expect(specification.hit(.afterPrepare) == [.error])
        #expect(specification.hit(.afterPrepare) == [.error])
    }

    @Test("counted steps follow each other, and after the last one nothing happens")
    func counted() throws {
        var specification = try FailpointSpecification("after_prepare=2*off->1*error->2*hold")
        let actions = (0..<7).map { _ in specification.hit(.afterPrepare) }
        #expect(actions == [[], [], [.error], [.hold], [.hold], [], []])
    }

    @Test("the step after a counted one begins where the count ends")
    func countedThenEndless() throws {
        var specification = try FailpointSpecification("before_decision=2*off->kill")
        let actions = (0..<4).map { _ in specification.hit(.beforeDecision) }
        #expect(actions == [[], [], [.kill], [.kill]])
    }

    @Test("a point that is not named does nothing, and its hits are counted all the same")
    func unnamed() throws {
        var specification = try FailpointSpecification("after_prepare=error")
        #expect(specification.hit(.beforeForget) == [])
        #expect(specification.hits == 1)
    }

    @Test("each point uses up its own counts")
    func independent() throws {
        var specification = try FailpointSpecification("after_prepare=1*off->error;before_decision=1*off->hold")
        #expect(specification.hit(.afterPrepare) == [])
        #expect(specification.hit(.beforeDecision) == [])
        #expect(specification.hit(.afterPrepare) == [.error])
        #expect(specification.hit(.beforeDecision) == [.hold])
    }

    @Test("'*' counts the hits of all points together")
    func every() throws {
        var specification = try FailpointSpecification("*=2*off->kill")
        #expect(specification.hit(.afterBegin) == [])
        #expect(specification.hit(.beforePrepare) == [])
        #expect(specification.hit(.afterPrepare) == [.kill])
        #expect(specification.hits == 3)
    }

    @Test("where a point is named beside '*', its own action comes first and both are counted")
    func namedBesideEvery() throws {
        var specification = try FailpointSpecification("*=1*off->error; after_prepare=hold")
        #expect(specification.hit(.afterPrepare) == [.hold])
        #expect(specification.hit(.afterPrepare) == [.hold, .error])
        #expect(specification.hit(.afterBegin) == [.error])
    }

    @Test("every point can be armed by its name", arguments: Failpoint.allCases)
    func names(point: Failpoint) throws {
        var specification = try FailpointSpecification("\(point.rawValue)=error")
        #expect(specification.hit(point) == [.error])
    }

    @Test(
        "every action is known by its name",
        arguments: [
            ("kill", .kill), ("stop", .stop), ("error", .error), ("hold", .hold), ("delay(0)", .delay(.zero)),
            ("delay(1500)", .delay(.milliseconds(1500))), ("delay( 60000 )", .delay(FailpointAction.maximumDelay)),
        ] as [(String, FailpointAction)])
    func actions(text: String, action: FailpointAction) throws {
        var specification = try FailpointSpecification("after_begin=\(text)")
        #expect(specification.hit(.afterBegin) == [action])
    }

    @Test("spaces and empty entries mean nothing")
    func spaces() throws {
        let spaced = try FailpointSpecification(" ; after_prepare = 2 * off -> kill ;\n * = error ; ")
        #expect(try spaced == FailpointSpecification("after_prepare=2*off->kill;*=error"))
    }

    @Test(
        "a specification that cannot be read is refused, with the part that is wrong",
        arguments: [
            ("", "it names no failpoint"), (" ; ", "it names no failpoint"), ("after_prepare", "there is no '='"),
            ("after_lunch=kill", "there is no failpoint 'after_lunch'"), ("AFTER_PREPARE=kill", "there is no failpoint"),
            ("after_prepare=", "an action is"), ("after_prepare=panic", "an action is"), ("after_prepare=off->", "an action is"),
            ("after_prepare=off>kill", "an action is"), ("after_prepare=0*kill", "a number of hits"),
            ("after_prepare=-1*kill", "a number of hits"), ("after_prepare=+1*kill", "a number of hits"),
            ("after_prepare=*kill", "a number of hits"), ("after_prepare=99999999999999999999*kill", "a number of hits"),
            ("after_prepare=2*3*kill", "an action is"), ("after_prepare=delay", "an action is"),
            ("after_prepare=delay()", "a number of milliseconds"), ("after_prepare=delay(-5)", "a number of milliseconds"),
            ("after_prepare=delay(60001)", "at most 60000"), ("after_prepare=kill;after_prepare=off", "twice"), ("*=off;*=kill", "twice"),
        ])
    func refused(text: String, reason: String) throws {
        let error = try #require(throws: FailpointError.self) { try FailpointSpecification(text) }
        #expect(error.description.contains(reason))
    }
}
