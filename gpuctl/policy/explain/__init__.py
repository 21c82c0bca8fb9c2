"""The one reason engine: ``explain`` judges what clusters saw of a job and says in one sentence why it stands where it stands.

What may live here: rules (one per code of evidence, in tables by family) and the choice among them. No rule reads anything but the
job, its evidence and ``now``.

The most trusted kind of evidence wins (:class:`~gpuctl.policy.explain.rule.Trust`): who killed it, then what the program said, then
what other ranks said after that, then the bare end; a container's wait, events, the scheduler, the queue. Among equals the rank that failed
first, then the earliest end, or the newest condition. Evidence of earlier attempts explains nothing but a wait after them.

Evidence codes and the keys of ``Evidence.data`` that are read (all optional, all text; sizes in bytes, times in seconds, unless a
unit is part of the text). ``text`` is the fact in its own words, ``rank``, ``node``, ``attempt`` and ``at`` say where and when.

========================  ======================================  ====================================================================
code                      data                                    seen when
========================  ======================================  ====================================================================
``cancelled``             by                                      somebody cancelled it (user name)
``dependency-failed``     job, state                              a dependency can never be satisfied; text: the sentence
``time-limit``            limit                                   its time limit ended it
``oom-killed``            limit, used, process                    a cgroup (with limit) or the kernel (without) killed it for memory
``interpreter-missing``   interpreter                             the Python it was to run with is gone
``start-failed``          what                                    its program could not be started; text: why; what: ``code`` did not arrive
``setup-failed``          code                                    ``--setup`` ended with this exit code
``module-missing``        module, package, interpreter            an import failed
``cuda-oom``              tried, total, free, others, device      a GPU ran out of memory; sizes as torch spells them (``2.00 GiB``)
``python-traceback``      file, line                              an exception ended a rank; text: its last line. Also function, exception
``killed``                process                                 a helper process was killed, as its parent or a shell tells
``nccl-error``            error, operation, seconds               NCCL failed or its watchdog gave up
``rendezvous-timeout``    joined, expected, seconds               the nodes did not find each other
``connection-lost``                                               another rank went away; text: the message
``signal``                signal, by                              a process died of this signal; by: who sent it, if known
``exit-code``             code, restarts, said                    a process ended with this exit code; said: the last line it wrote
``window-end``            at, owner, window, lent                 the window it ran in ended (``at`` in UNIX seconds); lent: it borrowed
``evicted``               cause, by                               cause: disk, memory, preempted or window
``node-lost``             node, seconds                           its node stopped answering
``reboot``                                                        the machine was restarted; at: when it came up
``supervisor-died``       pid                                     what watched over it ended without a word
``lost``                                                          its processes vanished
``retrying``              attempt, left                           an attempt ended and another follows; text: the sentence
``code-changed``          files                                   (note) files differ from what was submitted, comma-separated
``note``                                                          (note) anything else worth a line; text: the line
``silent``                seconds                                 since the last log line of a running job
``cluster-unreachable``   cluster, seconds                        its cluster does not answer
``credentials-expired``   cluster, command                        the cluster refuses our credentials; command: what logs in again
``image-missing``         image, tries                            no such image
``image-auth``            image, tries                            the registry wants credentials
``image-rate-limit``      image, tries                            the registry asks to slow down
``image-pull``            image, tries                            any other failure of a pull; text: what the registry said
``config-missing``        name, key, namespace                    a config map or a key of it is not there
``secret-missing``        name, key, namespace                    a secret or a key of it is not there
``volume-mount``          volume                                  a volume cannot be mounted; text: the event
``volume-unbound``        volume, class                           a volume is not bound; text: the event
``admission-refused``     by                                      an admission webhook or policy refused its objects; text: why
``unhealthy``             times, since, fatal                     a probe of a pod fails (since in UNIX seconds); fatal: it ended the pod
``operator-missing``      kind, operator                          nothing acts on its objects
``queued``                ahead, needs, total, free, told         in line; this and the next ones: told, else text, is the sentence
``claimed``               ahead, needs, total, free, told         behind older jobs of other users
``dependency``            ahead, needs, total, free, told         another job has not ended
``held``                  ahead, needs, total, free, told         on hold
``backoff``               ahead, needs, total, free, told         between two attempts
``capacity``              ahead, needs, total, free, told         not enough devices
``fragmented``            ahead, needs, total, free, told         enough devices, in pieces
``never-fits``            ahead, needs, total, free, told         asks for more than there is
``no-such-gpu``           ahead, needs, total, free, told         no such type
``device-busy``           ahead, needs, total, free, told         held by foreign processes
``not-ready``             ahead, needs, total, free, told         nodes are not ready
``unreachable``           ahead, needs, total, free, told         every cluster it may use is unreachable
``quota``                 ahead, needs, total, free, told         the team's quota is in use
``window``                ahead, needs, total, free, told         the nodes belong to another team now
``volume-home``           ahead, needs, total, free, told         its volumes live elsewhere
``budget``                ahead, needs, total, free, told         would cost more than it may
``taints``                taints, nodes                           nodes are closed by taints; text: the scheduler's message
========================  ======================================  ====================================================================
"""

from gpuctl.policy.explain.engine import RULES, explain

__all__ = ["RULES", "explain"]
